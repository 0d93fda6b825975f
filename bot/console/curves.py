"""Loss curves of training runs on a page, with the figures behind them."""

from __future__ import annotations

from collections.abc import Sequence

from bot.console import charts, texts
from bot.console.visitor import Visitor

Curve = Sequence[dict[str, float]]
"""What was measured, by "step"."""


def show_curve(visitor: Visitor, curve: Curve) -> None:
    """The losses of one training, by step; nothing where none was measured."""
    say = visitor.say
    show_losses(
        visitor,
        [(say(texts.TRAINING_LOSS), curve, "loss"), (say(texts.VALIDATION_LOSS), curve, "validation_loss")],
        say(texts.LOSS_BY_STEP),
    )


def show_losses(visitor: Visitor, lines: Sequence[tuple[str, Curve, str]], name: str) -> None:
    """Lines of one measurement each, and the table behind them."""
    say = visitor.say
    drawn = [
        charts.Line(
            called, tuple((float(point["step"]), point[figure]) for point in curve if figure in point)
        )
        for called, curve, figure in lines
    ]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return
    highest = max(value for line in drawn for _, value in line.points if value is not None)
    last = max(at for line in drawn for at, _ in line.points)
    charts.line_chart(name, drawn, charts.round_axis(last, whole=True), charts.round_axis(highest))
    charts.table_behind(
        say(texts.AS_TABLE),
        [say(texts.STEP_COLUMN), "", say(texts.LOSS_BY_STEP).partition(":")[0]],
        [
            [f"{at:.0f}", line.name, "–" if value is None else f"{value:.4f}"]
            for line in drawn
            for at, value in line.points
        ],
    )
