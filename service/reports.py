"""`/bundles/NAME/report`: how robust a bundle is, as a page and as JSON."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from service import openapi
from service.bundle_report import BundleReport
from service.errors import NoReport
from service.state import State

router = APIRouter(tags=["bundles"])
HARMLESS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def link(name: str) -> str:
    """Where the page of a bundle's report is."""
    return f"/bundles/{name}/report"


@router.get("/bundles/{name}/report", response_class=HTMLResponse, responses=openapi.REPORT_RESPONSES)
async def report_page(request: Request, name: str) -> Response:
    """How robust a bundle is, as a page for people: one file, no script."""
    report = _report(request, name)
    return HTMLResponse(report.page, headers={"Content-Security-Policy": report.policy, **HARMLESS})


@router.get("/bundles/{name}/report.json", responses=openapi.REPORT_RESPONSES)
async def report_json(request: Request, name: str) -> Response:
    """The same for programs: `report.json`, every attack with its parameters, every image with its outcome."""
    return Response(_report(request, name).document, headers=HARMLESS, media_type="application/json")


def _report(request: Request, name: str) -> BundleReport:
    state: State = request.app.state.empir
    served = state.catalog.get(name)
    if served.report is None:
        raise NoReport(f"{name}: expected a bundle with a report; `empir evaluate {name} --attach` makes one")
    return served.report
