"""`POST /robustness-probe`: attack an image, and show whether the vote holds."""

import asyncio
from collections.abc import Coroutine
from dataclasses import fields
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic.json_schema import SkipJsonSchema
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from robustness.norms import NORMS
from robustness.parameters import ATTACKS, AttackParameters, plan, require_gradients
from robustness.probe_report import ProbeReport
from service import openapi
from service.bodies import image_bytes, refuse_unknown_query
from service.exchange import Exchange
from service.probe_process import Job
from service.state import State

router = APIRouter()
QUERY = ("bundle", *(field.name for field in fields(AttackParameters)))
LEFT_CHECK_S = 0.25
"""How often a probe looks whether its client is still there."""


@router.post(
    "/robustness-probe",
    response_model=ProbeReport,
    openapi_extra=openapi.IMAGE_BODY,
    responses=openapi.PROBLEMS,
    tags=["probe"],
)
async def robustness_probe(
    request: Request,
    bundle: Annotated[str | None, Query(description="Name of the bundle; the default one if left out.")] = None,
    attack: Annotated[
        str | SkipJsonSchema[None],
        Query(
            description="`square` and `hopskipjump` ask only, the others follow gradients, `deepfool` and, with the "
            "norm `l2`, `cw-l2` to the smallest change; `pgd` if left out, or `square` if a member has no gradient "
            "graph.",
            json_schema_extra={"enum": list(ATTACKS)},
        ),
    ] = None,
    norm: Annotated[
        str,
        Query(
            description="What eps limits: the largest change of a value, or the length of all.",
            json_schema_extra={"enum": list(NORMS)},
        ),
    ] = "linf",
    eps: Annotated[
        str | None,
        Query(description="Radius of the ball around the image: a number or a fraction.", examples=["8/255"]),
    ] = None,
    steps: Annotated[
        int | None,
        Query(
            description="1 to 1000, or 10000 queries; if left out 40, of `cw-l2` 200, of `deepfool` 50, or 5000 "
            "queries."
        ),
    ] = None,
    step_size: Annotated[str | None, Query(description="2.5 eps / steps if left out; of apgd 2 eps at first.")] = None,
    restarts: Annotated[int, Query(description="Random starts of every goal, 1 to 20.")] = 1,
    label: Annotated[int | None, Query(description="The true class index; the clean verdict if left out.")] = None,
    target: Annotated[
        int | None, Query(description="The class index to reach; any other than the label if left out.")
    ] = None,
    seed: Annotated[int, Query(description="Of the random starts.")] = 0,
    budget_ms: Annotated[int, Query(description="Time after which the attack stops, up to 30000.")] = 10_000,
) -> Response:
    """Attack an image, knowing the vote, and report whether the verdict of what is served falls.

    White-box, or, with `square` and `hopskipjump`, by queries, which is all that members without gradient graphs allow.
    `not_broken_within_budget` is not "robust": another attack, or more steps, may succeed.
    """
    state: State = request.app.state.empir
    refuse_unknown_query(request.query_params, QUERY)
    served = state.catalog.get(bundle)
    parameters = AttackParameters(attack, norm, eps, steps, step_size, restarts, label, target, seed, budget_ms)
    chosen = plan(parameters, served.manifest)  # refuse before anything is read or queued
    require_gradients(chosen.attack, [m.name for m in served.manifest.members if m.gradient_file is None])
    data = await image_bytes(Exchange.of(request))
    image, _ = await state.decoder.image(data, served.manifest.input)
    job = Job(served.folder, served.manifest.version, image, parameters, generation=served.generation)
    report = await _while_connected(request, state.probes.run(job))
    state.metrics.probe.labels(chosen.attack, report.outcome).inc()
    state.metrics.probe_duration_seconds.labels(chosen.attack).observe(report.time_ms / 1000)
    request.state.log.update(bundle=served.manifest.name, attack=chosen.attack, outcome=report.outcome)
    return Response(report.model_dump_json(), media_type="application/json")


async def _while_connected(request: Request, work: Coroutine[Any, Any, ProbeReport]) -> ProbeReport:
    """The work's result; it is cancelled, and ClientDisconnect raised, when the client goes away first."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LEFT_CHECK_S)
            if not task.done() and await request.is_disconnected():
                raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
