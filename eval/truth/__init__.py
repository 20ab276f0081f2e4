"""Lesions of annotated tumour."""
