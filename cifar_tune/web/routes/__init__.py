"""What is answered under `/v1`, by subject."""

PREFIX = "/v1"
