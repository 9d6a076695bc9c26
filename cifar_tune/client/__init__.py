"""Asks a server of the service over HTTP, with the same interface as the database (`cifar_tune.service.desk.Desk`).

with HttpDesk("https://gpu-box.example.org", token) as desk:
    desk.submit(Path("study.yaml").read_text())
    print(desk.best("digits")["config"])
"""

from cifar_tune.client.http_desk import HttpDesk as HttpDesk
