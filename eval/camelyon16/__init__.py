"""Reproduction of the two official CAMELYON16 evaluation programs, from mask to score.

E1 is `Evaluation_FROC.py` (2016), scored as NCRF does, and MONAI under NumPy 1; E2 is the script
shipped with the public data. Both find lesions in level 5 of a mask. Their oddities are kept: see
docs/evaluation.md.
"""

from .official import OfficialFroc, OfficialResult, evaluate_official

__all__ = ["OfficialFroc", "OfficialResult", "evaluate_official"]
