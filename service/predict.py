"""`POST /predict`: an image in, the verdict and every member's vote out."""

import time
from functools import partial

import orjson

from runtime.answer import answer, milliseconds
from runtime.errors import InvalidValue
from runtime.manifest import Manifest
from runtime.prediction import MODES, Mode
from runtime.vote import NO_VOTE
from service.bodies import image_bytes, refuse_unknown_query
from service.catalog import Served
from service.exchange import Exchange
from service.scheduler import Placed
from service.state import State
from service.trace import Span

PATH = "/predict"


async def predict(exchange: Exchange) -> None:
    """Classify an image: the voted label, and each member's own vote, confidence and time.

    The image is a multipart `file`, a raw `image/*` body, or JSON `{"image": "<base64>"}`.
    `suspicious` is null where the bundle has no threshold for it, or a member that it needs has no vote, such as one
    that a quorum skipped.
    """
    start = time.perf_counter()
    state: State = exchange.scope["app"].state.empir
    query = exchange.query
    refuse_unknown_query(query, ("mode", "bundle"))
    served = state.catalog.get(query.get("bundle"))
    mode = parse_mode(query.get("mode", state.settings.mode))
    data = await image_bytes(exchange)
    with state.scheduler.place() as since:
        image, waited = await state.decoder.image(data, served.manifest.input, exchange.left, since)
        decoded = time.perf_counter()
        placed = await state.scheduler.predict(served, image, mode, exchange.left, since)
    if exchange.parts is not None:
        exchange.parts += parts_of(served.manifest, placed, since, waited, decoded)
    stages = stages_of(placed, decoded - since, waited)
    exchange.after.append(partial(_count, exchange, state, served, placed, mode, stages))
    suspicious = placed.judged.suspicious[placed.first]
    document = answer(served.manifest, placed.judged.prediction, mode, placed.first, suspicious=suspicious)
    document["latency_ms"] = {name: milliseconds(seconds) for name, seconds in stages.items()}
    document["latency_ms"]["total"] = milliseconds(time.perf_counter() - start)
    document["bundle"] = {"name": served.manifest.name, "version": served.manifest.version}
    document["request_id"] = exchange.request_id
    headers = ((b"content-type", b"application/json"), (b"server-timing", server_timing(stages)))
    await exchange.respond(orjson.dumps(document), headers)


def parse_mode(value: object, field: str = "mode") -> Mode:
    """Raises InvalidValue, naming the field, for what is no mode."""
    if value not in MODES:
        raise InvalidValue(f"{field}: expected {' or '.join(MODES)}, got {str(value)[:64]!r}")
    return value


def stages_of(placed: Placed, decoding: float, waited: float) -> dict[str, float]:
    """Seconds of each stage of a prediction; `decoding` is what it took with `waited`, the wait for a core to do so."""
    prediction = placed.judged.prediction
    return {
        "decode": decoding - waited,
        "queue": waited + placed.waited,
        "inference": prediction.inference_seconds,
        "vote": prediction.vote_seconds,
    }


def parts_of(manifest: Manifest, placed: Placed, began: float, waited: float, decoded: float) -> list[Span]:
    """What took time in a prediction, for a trace: waiting, before decoding and after it, each member that was asked,
    the vote."""
    prediction = placed.judged.prediction
    spans = zip(manifest.members, prediction.spans, strict=True)
    members = [
        Span(f"member {member.name}", *span, {"empir.precision": str(member.precision)})
        for member, span in spans
        if span is not None
    ]
    voting = max((span.end for span in members), default=decoded)
    decoding = began + waited
    return [
        *([Span("queue", began, decoding)] if waited else []),
        Span("decode", decoding, decoded),
        Span("queue", decoded, decoded + placed.waited),
        *members,
        Span("vote", voting, voting + prediction.vote_seconds, {"empir.batch_size": len(prediction.verdict)}),
    ]


def server_timing(stages: dict[str, float]) -> bytes:
    """The header that browsers show (W3C Server Timing): the stages, in milliseconds."""
    return ", ".join([f"{name};dur={1000 * seconds:.3f}" for name, seconds in stages.items()]).encode()


def _count(
    exchange: Exchange, state: State, served: Served, placed: Placed, mode: Mode, stages: dict[str, float]
) -> None:
    """What metrics and log have of a prediction, answered or without a quorum."""
    metrics, prediction, image = state.metrics.of(served.manifest), placed.judged.prediction, placed.first
    metrics.staged(stages)
    metrics.predicted(prediction, image, mode)
    if placed.judged.suspicious[image]:
        metrics.suspected()
    verdict = int(prediction.verdict[image])
    label = None if verdict == NO_VOTE else served.manifest.labels[verdict]
    exchange.log.update(bundle=served.manifest.name, mode=mode, label=label)
    if prediction.details:
        exchange.log["failures"] = prediction.details
