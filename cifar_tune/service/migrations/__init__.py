"""The versions of the service's tables, oldest first; see `cifar_tune.service.schema`.

Each file has `revision` (four digits), `down_revision` (the one before) and `upgrade(op)`, which gets the operations of
alembic. A file that was released is never changed: a later one brings the tables to what `tables` says, and `VERSION`
there is its number.
"""
