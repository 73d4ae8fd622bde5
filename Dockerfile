# One image for every process of ours: `api`, `worker`, `migrate`, `schedules`; the command says which.

FROM python:3.11.14-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

# The environment without pip: what runs needs no installer. Wheels only, so nothing is compiled and no code of a
# package runs at build time; each one must have the hash that was locked.
COPY requirements-runtime.lock /build/
RUN python -m venv --without-pip /opt/visitnow \
 && python -m pip --python /opt/visitnow/bin/python install --require-hashes --only-binary :all: \
    -r /build/requirements-runtime.lock

COPY activities /app/activities
COPY adapters /app/adapters
COPY api /app/api
COPY cli /app/cli
COPY models /app/models
COPY sandbox /app/sandbox
COPY workers /app/workers
COPY workflows /app/workflows
COPY deploy/visitnow deploy/worker_health.py /app/deploy/
# The file system is read-only when it runs: byte code is made here.
RUN /opt/visitnow/bin/python -m compileall -q /app


FROM python:3.11.14-slim-bookworm

RUN groupadd --system --gid 10001 visitnow \
 && useradd --system --uid 10001 --gid 10001 --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin visitnow \
 && python -m pip uninstall --yes --quiet --root-user-action ignore pip setuptools wheel

COPY --from=build /opt/visitnow /opt/visitnow
COPY --from=build /app /app
RUN ln -s /app/deploy/visitnow /usr/local/bin/visitnow

ENV PATH=/opt/visitnow/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /app
USER 10001:10001
EXPOSE 8000

# Of the API; a worker has no port and another check (deploy/worker_health.py).
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]

ENTRYPOINT ["visitnow"]
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
