FROM python:3.12-slim AS build
WORKDIR /build
# requirements-grpc.lock: with the extra `grpc`, for EMPIR_GRPC_PORT.
ARG REQUIREMENTS=requirements.lock
COPY ${REQUIREMENTS} .
RUN python -m venv /opt/empir && /opt/empir/bin/pip install --no-cache-dir --require-hashes -r ${REQUIREMENTS}
COPY pyproject.toml README.md empir.py ./
COPY models models
COPY export export
COPY runtime runtime
COPY robustness robustness
COPY service service
COPY loadtest loadtest
COPY benchmarks benchmarks
RUN /opt/empir/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home empir
COPY --from=build /opt/empir /opt/empir
COPY bundles /srv/bundles
COPY samples /srv/samples
USER 10001
ENV PATH=/opt/empir/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    EMPIR_HOST=0.0.0.0 \
    EMPIR_PORT=8000 \
    EMPIR_BUNDLES=/srv/bundles \
    EMPIR_LOG_FORMAT=json
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["empir"]
CMD ["serve"]
