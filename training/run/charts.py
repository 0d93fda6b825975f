"""The pictures of a run: its loss curves, its figures side by side, and the loss at every question.

By matplotlib, without a display and without its global state. As SVG they take the colours of the page that
they stand in (CSS variables), so that they suit light and dark; as PNG they stand alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from feedback.words import Language
from training.examination.comparisons import LOSS
from training.examination.metrics import METRICS
from training.run.report_texts import SUBJECTS, Say

SHOWN: Final = (
    *("rank_recall", "rank_generalisation", "rightly", "nearest_own", "chrf", "rouge_l", "overlap"),
    *("distinct_2", "language_match", "not_knowing"),
    *("repetition", "memorisation", "false_not_knowing", "same_opening", "style_distance"),
)
"""Figures from 0 to 1, or of a hundred, those where less is better below the others."""
_OF_A_HUNDRED: Final = ("chrf", "bleu")


@dataclass(frozen=True)
class _Palette:
    surface: str
    ink: str
    muted: str
    line: str
    base: str
    current: str
    candidate: str


_PRINT: Final = _Palette("#ffffff", "#1c1e22", "#5b616c", "#dfdcd4", "#8b919c", "#c07a12", "#0f6d66")
# no colours, but names for them: each becomes the CSS variable of its field
_PAGE: Final = _Palette("#010101", "#020202", "#030303", "#040404", "#050505", "#060606", "#070707")
_STYLE: Final = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "thumbloop",
}

_Draw = Callable[[Any, Mapping[str, Any], _Palette, Say], None]


def save(folder: Path, content: Mapping[str, Any]) -> None:
    """Write `curves.png` and `metrics.png`. `content` is what the report says."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    english = Say("en")
    with rc_context(_STYLE):
        curves = Figure(figsize=(7.2, 3.6), layout="constrained", facecolor=_PRINT.surface)
        _curves(_axes(curves.subplots(), _PRINT), content, _PRINT, english)
        curves.savefig(folder / "curves.png", dpi=160)
        metrics = Figure(figsize=(12, 4.4), layout="constrained", facecolor=_PRINT.surface)
        left, right = metrics.subplots(1, 2, width_ratios=(3, 2))
        _metrics(_axes(left, _PRINT), content, _PRINT, english)
        _questions(_axes(right, _PRINT), content, _PRINT, english)
        metrics.savefig(folder / "metrics.png", dpi=160)


def drawn(content: Mapping[str, Any], language: Language) -> dict[str, str]:
    """The pictures "curves", "metrics" and "questions" as SVG to stand in a page.

    And "preference", the loss curves of a stage that followed, where there was one.
    """
    say = Say(language)
    preference = content["training"].get("preference")
    later = {} if preference is None else {"preference": _svg(_preference, content, say, (10.6, 2.6))}
    return later | {
        "curves": _svg(_curves, content, say, (10.6, 3.0)),
        "metrics": _svg(_metrics, content, say, (6.4, 4.1)),
        "questions": _svg(_questions, content, say, (4.3, 4.1)),
    }


def _svg(draw: _Draw, content: Mapping[str, Any], say: Say, inches: tuple[float, float]) -> str:
    """A drawing as SVG markup for the page, in the page's own colours."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        draw(_axes(figure.subplots(), _PAGE), content, _PAGE, say)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for colour in fields(_Palette):
        svg = svg.replace(getattr(_PAGE, colour.name), f"var(--{colour.name})")
    # marks of several pictures in one page must not be mistaken for one another
    prefix = draw.__name__.strip("_")
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)


def _axes(axes: Any, palette: _Palette) -> Any:
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set_color(palette.line)
    axes.tick_params(colors=palette.muted, length=0)
    axes.grid(color=palette.line, linewidth=0.7)
    return axes


def _curves(axes: Any, content: Mapping[str, Any], palette: _Palette, say: Say) -> None:
    """Training and validation loss by step."""
    _losses(axes, content["training"].get("curve", []), palette, say)
    unit = say("preference loss") if "method" in content["training"] else say("loss, nats per answer token")
    axes.set_ylabel(unit, color=palette.muted)


def _preference(axes: Any, content: Mapping[str, Any], palette: _Palette, say: Say) -> None:
    """The same of the preference stage, whose loss is that of its method."""
    _losses(axes, content["training"]["preference"].get("curve", []), palette, say)
    axes.set_ylabel(say("preference loss"), color=palette.muted)


def _losses(axes: Any, curve: Sequence[Mapping[str, Any]], palette: _Palette, say: Say) -> None:
    """Draw the training and validation losses of a curve, its lowest validation marked."""
    training = [(point["step"], point["loss"]) for point in curve if point.get("loss") is not None]
    validation = [
        (point["step"], point["validation_loss"])
        for point in curve
        if point.get("validation_loss") is not None
    ]
    axes.set_xlabel(say("optimiser step"), color=palette.muted)
    if training:
        axes.plot(*zip(*training, strict=True), color=palette.base, linewidth=1.4, label=say("training"))
    if validation:
        axes.plot(
            *zip(*validation, strict=True),
            color=palette.candidate,
            linewidth=2,
            marker="o",
            markersize=5.5,
            label=say("validation"),
        )
        step, lowest = min(validation, key=lambda point: point[1])
        axes.annotate(
            f"{say('lowest')} {lowest:.3f}",
            (step, lowest),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            color=palette.ink,
        )
    axes.set_ylim(bottom=0)
    _legend(axes, palette, bool(training or validation))


def _metrics(axes: Any, content: Mapping[str, Any], palette: _Palette, say: Say) -> None:
    """Every subject's figures from 0 to 1, those where more is better above the others."""
    rows = [name for name in SHOWN if name in content["metrics"].get("candidate", {})]
    is_less = {name: METRICS[name].better == "less" for name in rows}
    places = {name: -index - (0.6 if is_less[name] else 0.0) for index, name in enumerate(rows)}
    for name, place in places.items():
        shown = {
            subject: metrics[name] / (100 if name in _OF_A_HUNDRED else 1)
            for subject, metrics in content["metrics"].items()
        }
        axes.plot(
            [shown.get("base"), shown.get("candidate")],
            [place, place],
            color=palette.line,
            linewidth=3,
            zorder=1,
        )
    for subject, size in (("base", 46), ("current", 46), ("candidate", 62)):
        if subject in content["metrics"]:
            values = [
                content["metrics"][subject][name] / (100 if name in _OF_A_HUNDRED else 1) for name in places
            ]
            axes.scatter(
                values,
                list(places.values()),
                s=size,
                color=getattr(palette, subject),
                label=say(SUBJECTS[subject]),
                zorder=2 if subject != "candidate" else 3,
                clip_on=False,
            )
    axes.set_yticks(
        list(places.values()),
        [f"{METRICS[name].called.say(say.language)} {'↓' if is_less[name] else '↑'}" for name in places],
    )
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", colors=palette.ink)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(say("↑ more is better, ↓ less is better; chrF of 100"), color=palette.muted)
    _legend(axes, palette, bool(places))


def _questions(axes: Any, content: Mapping[str, Any], palette: _Palette, say: Say) -> None:
    """The loss at every held-out question: base model across, candidate up; below the line is better."""
    both = [
        (one["answers"]["base"][LOSS], one["answers"]["candidate"][LOSS])
        for one in content["answers"]
        if one["kind"] == "held-out" and {"base", "candidate"} <= one["answers"].keys()
    ]
    most = max((max(pair) for pair in both), default=1.0) * 1.06
    axes.plot([0, most], [0, most], color=palette.muted, linewidth=1, linestyle=(0, (4, 4)))
    if both:
        axes.scatter(
            *zip(*both, strict=True), s=34, color=palette.candidate, alpha=0.75, linewidths=0, clip_on=False
        )
    axes.set_xlim(0, most)
    axes.set_ylim(0, most)
    axes.set_aspect("equal")
    axes.set_xlabel(say("loss of the base model"), color=palette.muted)
    axes.set_ylabel(say("loss of the candidate"), color=palette.muted)


def _legend(axes: Any, palette: _Palette, drawn: bool) -> None:
    if drawn:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=3,
            frameon=False,
            labelcolor=palette.ink,
            borderaxespad=0.2,
            handlelength=1.4,
            columnspacing=1.4,
        )
