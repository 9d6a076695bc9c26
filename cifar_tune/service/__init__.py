"""The service without HTTP: studies that several people submit, queue, share and watch."""
