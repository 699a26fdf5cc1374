"""BentoML: `PEER_BUNDLE=DIR bentoml serve loadtest.peers.bentoml_server:Ensemble --port P`.

The route is mounted as an ASGI application: BentoML's own routes take JSON or multipart bodies, which costs more.
"""

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.peers.job import Job

job = Job()


async def predict(request: Request) -> Response:
    """One image, inline."""
    return JSONResponse(job.batch([await request.body()])[0])


@bentoml.asgi_app(Starlette(routes=[Route("/predict", predict, methods=["POST"])]))
@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Ensemble:
    """A service with that route alone."""
