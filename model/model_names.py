"""The trainable models' names, in a module of their own: to list them must not load torch."""

OPAL = "opal"

MULTI_INTEREST_RIVALS = ("octopus", "mind", "comirec-dr", "comirec-sa", "dssrec", "cmi")

SINGLE_VECTOR_RIVALS = ("gru4rec", "sasrec")
"""They make one vector of a history: k is 1."""

TRAINABLE_MODELS = (OPAL, *MULTI_INTEREST_RIVALS, *SINGLE_VECTOR_RIVALS)

NEXT_ITEM_MODELS = (OPAL, "dssrec", "cmi", *SINGLE_VECTOR_RIVALS)
"""They have a state after each interaction, which can predict the next one."""

ATTENTION_MODELS = (OPAL, "cmi")
"""They have a general interest, which self-attention may read beside the GRU."""
