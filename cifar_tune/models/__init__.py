"""The networks: small convolutional nets, VGG, residual and dense nets for small images, and those of timm."""
