"""mini-ImageNet and tiered-ImageNet, and the forms in which people have them. Imports `sources` and the core."""
