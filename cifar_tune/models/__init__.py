"""The networks: small convolutional nets and residual nets for small images."""
