"""The probe: a linear classifier on features of a frozen network, which are kept on disk."""
