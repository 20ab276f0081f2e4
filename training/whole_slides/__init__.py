"""Training of a fully convolutional network on whole slides as small pictures, or on patches
first."""
