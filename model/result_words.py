"""Results of trainings and evaluations in words."""

from model.command import Result


def describe_run(result: Result) -> str:
    """Say how good a run is by each stage and each yardstick, a line for each part of the data."""
    if "stopped" in result:
        return str(result["stopped"])
    if "stages" not in result:
        return "\n".join(_describe_parts(result["model"], result["metrics"]))
    lines = [
        line
        for stage, measured in result["stages"].items()
        for line in _describe_parts(_stage_name(result, stage), measured["metrics"])
    ]
    if len(result["stages"]) > 1:
        lines.append(f"chosen by validation: {result['stage']} stage")
    if "refit" in result:
        steps = ", ".join(f"{n} steps {stage}" for stage, n in result["refit"]["steps"].items())
        lines.append(f"trained anew on everything: {steps}; the figures are from before that")
    # A run of an earlier version that is resumed has none.
    for name, metrics in result.get("yardsticks", {}).items():
        lines += _describe_parts(name, metrics)
    lines += [
        f"{name} left out: {reason}"
        for name, reason in result.get("yardsticks_left_out", {}).items()
    ]
    return "\n".join(lines)


def _stage_name(result: Result, stage: str) -> str:
    """Name a stage; the only one of a model goes by the model's name."""
    return stage if len(result["stages"]) > 1 else str(result["model"])


def _describe_parts(name: str, metrics: dict[str, dict[str, float]]) -> list[str]:
    return [f"{name}, {part}: {metrics_in_words(metrics[part])}" for part in ("valid", "test")]


def metrics_in_words(metrics: dict[str, float]) -> str:
    """Return the metrics that a line has room for: "recall@10 0.1062, …, 1088 users"."""
    cutoffs = (1, 5, 10, 20, 50)
    names = [f"{kind}@{cutoff}" for kind in ("recall", "hitrate", "ndcg") for cutoff in cutoffs]
    names.append("mrr")
    values = [f"{name} {metrics[name]:.4f}" for name in names if name in metrics]
    return ", ".join([*values, f"{metrics['users']} users"])
