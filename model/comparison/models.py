"""The models that can be compared, by their names in ``train --model``; nothing heavy is loaded."""

from model.baselines.names import YARDSTICKS

OURS = "opal"
MULTI_INTEREST_RIVALS = ("octopus", "mind", "comirec-dr", "comirec-sa", "dssrec", "cmi")
SINGLE_VECTOR = ("gru4rec", "sasrec")
MULTI_INTEREST = (OURS, *MULTI_INTEREST_RIVALS)
MODELS = (*MULTI_INTEREST, *SINGLE_VECTOR, *YARDSTICKS)
"""In the order of the tables."""
