"""Settings of the server: environment variables `EMPIR_*`, or the flags of `empir serve`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.bundle import DEFAULT_BUNDLE
from runtime.engine import EngineSetting
from runtime.ensemble import Concurrency, usable_cores
from runtime.prediction import Mode


class Settings(BaseSettings):
    """Frozen; each field is the variable `EMPIR_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="EMPIR_", frozen=True, extra="ignore", allow_inf_nan=False)

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on. Without a proxy that checks keys, leave it on this machine."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 picks a free one."""
    workers: int = Field(1, ge=1, le=64)
    """Processes that share the port, each with its share of the cores and its own copy of the bundles."""
    bundles: Path = Path("bundles")
    """Folder whose subfolders are the bundles to serve."""
    default: str = DEFAULT_BUNDLE
    """Name of the bundle that answers when a request names none."""
    mode: Mode = "full"
    """How a request's vote is carried out when it does not say: full or quorum."""
    concurrency: Concurrency = "auto"
    """How members run: `members` side by side, `requests` one after the other, or `auto`, which goes by their cost."""
    engine: EngineSetting = "onnxruntime"
    """What runs members: `onnxruntime`, `openvino` (an extra), `cuda`, or `auto`: the quickest installed, by member."""
    member_deadline_ms: float = Field(2000, gt=0)
    """A member that takes longer has no vote."""
    deadline_ms: float = Field(10_000, gt=0)
    """A prediction that takes longer, decoding and waiting included, is dropped and answered 504."""
    queue: int = Field(64, ge=0)
    """Predictions that may wait for a core; one more is answered 429."""
    batch_images: int = Field(16, ge=1)
    """Most images that run together when requests wait for a core; none waits for company while a core is idle."""
    batch_ms: float = Field(500, gt=0)
    """Longest time that a batch may take, by what one image took at the start; a slow ensemble gets smaller batches."""
    probe_queue: int = Field(4, ge=0)
    """Probes that may wait for the probe process; one more is answered 429."""
    audit_rate: float = Field(0.01, ge=0, le=1)
    """Share of quorum answers whose skipped members idle cores ask afterwards; while 64 wait, more are dropped."""
    max_batch: int = Field(64, ge=1)
    """Most images in one request of the Open Inference Protocol; more are answered 400."""
    max_body_bytes: int = Field(10_000_000, ge=1)
    """Largest request body; a larger one is answered 413."""
    max_bodies_bytes: int = Field(200_000_000, ge=1)
    """Most bytes of request bodies under way, all together and by worker; what would be more is answered 429."""
    max_pixels: int = Field(25_000_000, ge=1)
    """Largest picture, width x height; a larger one is answered 413."""
    header_timeout_s: float = Field(10, gt=0)
    """Time for a request's headers to be complete."""
    body_timeout_s: float = Field(20, gt=0)
    """Time for a request's body to be complete."""
    admin_key: SecretStr | None = None
    """Key that loading and unloading bundles asks for; without one nobody may."""
    grpc_port: int | None = Field(None, ge=0, le=65535)
    """Port of the Open Inference Protocol over gRPC; 0 picks a free one. None: no gRPC. Needs the extra `grpc`."""
    otlp_endpoint: str | None = Field(None, pattern=r"^https?://[^/]+[^/]$")
    """Where OpenTelemetry traces go (OTLP over HTTP), as http://127.0.0.1:4318; None: nowhere. Extra `tracing`."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """Log lines on standard error: `json`, `console` for people, or `auto`, which goes by whether it is a terminal."""

    @property
    def cores(self) -> int:
        """Cores that each worker may use, of those that this process may run on."""
        return max(1, usable_cores() // self.workers)
