"""OPAL's equations as they stand, one interaction at a time: what faster code must agree with."""

import numpy as np
from numpy.typing import NDArray

from model.arrays import Rows
from model.encoder import Stage

Tensors = dict[str, NDArray[np.float32]]


def interests_of_the_equations(
    tensors: Tensors, history: Rows, stage: Stage, terms: dict[str, float], *, max_len: int
) -> NDArray[np.float64]:
    """Return the interests, float64 [k, d], in double precision throughout.

    s_j = norm(Σ_t (ε + (1 − ε) a_tj) (1 + age_t)^(−ρ) e_t);  z_j = norm((1 − γ) s_j + γ h_j);
    with a general interest g, z_j = norm(s_j + γ / (1 − γ) h_j + λ g), with g = norm(W h + b), or
    norm(norm(W h + b) + norm(x)) with attention (docs/paper-to-code.md).

    Args:
        tensors: What ``encoder.safetensors`` holds.
        history: Rows of items, oldest first.
        stage: Of what stage.
        terms: What the encoder has besides the paper's (see ``tests.opal.random_encoder``).
        max_len: How many of the newest interactions count.
    """
    recency, sharing = terms.get("recency", 0.0), terms.get("sharing", 0.0)
    evolution = terms.get("evolution", 0.5)
    exact = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    c = exact["hyper_category"]
    history = history[-max_len:]
    g = np.zeros(c.shape[1])
    if terms.get("general") and len(history):
        state = np.zeros(c.shape[1])
        read = exact["item_embedding"][history[-int(terms.get("general_len", max_len)) :]]
        for e in read:
            state = _gru_step(exact, e, state)
        g = _unit(exact["general.weight"] @ state + exact["general.bias"])
        if "attention" in terms:
            g = _unit(g + _unit(_attention(exact, read)))
        g *= terms["general"]
    result = []
    for j in range(len(c)):
        total = np.zeros(c.shape[1])
        own = []
        for t, row in enumerate(history):
            e = exact["item_embedding"][row]
            a = np.exp(c @ e / 0.1) / np.exp(c @ e / 0.1).sum()
            age = len(history) - 1 - t
            total += (sharing + (1 - sharing) * a[j]) * (1 + age) ** -recency * e
            if (c @ e).argmax() == j:
                own.append(e)
        s = total / np.linalg.norm(total) if total.any() else c[j]
        if stage == "soft":
            result.append((s + g) / np.linalg.norm(s + g))
            continue
        state = np.zeros(c.shape[1])
        for e in own:
            state = _gru_step(exact, e, state)
        h = np.maximum(exact["head.weight"] @ state + exact["head.bias"], 0)
        if own and h.any():
            h /= np.linalg.norm(h)
        else:
            h = s if sharing > 0 else c[j]
        z = (1 - evolution) * (s + g) + evolution * h
        result.append(z / np.linalg.norm(z))
    return np.array(result)


def _attention(
    exact: dict[str, NDArray[np.float64]], read: NDArray[np.float64]
) -> NDArray[np.float64]:
    """SASRec's block (arXiv 1808.09781, eq. 2-6) at the newest of these interactions."""

    def layer_norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        scaled = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        result: NDArray[np.float64] = scaled * exact[f"{name}.weight"] + exact[f"{name}.bias"]
        return result

    block, dim = "transformer.blocks.0", read.shape[1]
    ages = range(len(read) - 1, -1, -1)
    states = [
        e * dim**0.5 + exact["transformer.positions"][age]
        for e, age in zip(read, ages, strict=True)
    ]
    projections = exact[f"{block}.query_key_value.weight"]
    triples = [np.split(projections @ layer_norm(x, f"{block}.attention_norm"), 3) for x in states]
    query = triples[-1][0]
    weights = np.exp([query @ key / dim**0.5 for _, key, _ in triples])
    attended = sum(w * value for w, (_, _, value) in zip(weights, triples, strict=True))
    x = states[-1] + attended / weights.sum()
    hidden = exact[f"{block}.network_in.weight"] @ layer_norm(x, f"{block}.network_norm")
    hidden = np.maximum(hidden + exact[f"{block}.network_in.bias"], 0)
    x = x + exact[f"{block}.network_out.weight"] @ hidden + exact[f"{block}.network_out.bias"]
    return layer_norm(x, "transformer.norm")


def _gru_step(
    exact: dict[str, NDArray[np.float64]], x: NDArray[np.float64], state: NDArray[np.float64]
) -> NDArray[np.float64]:
    from_input = np.split(exact["gru.weight_ih"] @ x, 3)
    from_state = np.split(exact["gru.weight_hh"] @ state, 3)
    reset = 1 / (1 + np.exp(-from_input[0] - from_state[0]))
    update = 1 / (1 + np.exp(-from_input[1] - from_state[1]))
    new = np.tanh(from_input[2] + reset * from_state[2])
    stepped: NDArray[np.float64] = (1 - update) * new + update * state
    return stepped


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return result
