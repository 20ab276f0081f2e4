"""Check of a model on windows that hold no tumour, and refusal of one that fails it."""
