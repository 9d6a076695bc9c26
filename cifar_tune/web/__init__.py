"""The service over HTTP: what programs ask under `/v1`, the pages for people, and optuna-dashboard behind both."""
