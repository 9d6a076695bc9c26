"""Augmentations: drawn for a whole epoch at once, applied batch by batch on the device of the images.

They join an epoch in five stages, in this order whatever their order in `augment`, which orders those of one stage:

1. `coordinates`: move pixels along rows and columns; all of them together cost one gather, on bytes.
2. `affine`: turn and scale; all of them together cost one resampling.
3. `pixels`: change values, of images in [0, 1].
4. `inputs`: change normalised images, where zero is the mean of the training images (if they are standardized).
5. `mixing`: blend each image and its label with another of its batch.
"""
