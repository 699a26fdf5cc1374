"""`python -m loadtest.baseline BUNDLE --port P`."""

from pathlib import Path

import click
import uvicorn

from loadtest.baseline.app import create_app


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=9001, show_default=True)
def main(bundle: Path, host: str, port: int) -> None:
    """Serve the members of BUNDLE, a folder, behind a hand-written handler."""
    uvicorn.run(create_app(bundle), host=host, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
