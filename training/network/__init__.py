"""The network as it learns: built, frozen, with its optimiser and learning rate, on its devices."""
