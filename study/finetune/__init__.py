"""The study of starts of a network that is fine-tuned: start × frozen part × learning rate."""
