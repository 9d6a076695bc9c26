"""The versions of the service's tables, oldest first; see `cifar_tune.service.schema`."""
