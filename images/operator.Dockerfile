# The operator. Build from the repository's root:
#   docker build -f images/operator.Dockerfile -t modelyard/operator:0.1.0 .
ARG PYTHON=python:3.11.13-slim-bookworm
FROM ${PYTHON} AS build
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /source
COPY . .
RUN python images/assemble.py operator /layer

FROM ${PYTHON}
COPY --from=build /layer /
ENV PYTHONPATH=/opt/modelyard \
    PATH=/opt/modelyard/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LD_LIBRARY_PATH=/opt/modelyard/lib \
    USER=modelyard \
    HOME=/tmp
USER 65532
CMD ["python", "-m", "modelyard.plane", "--help"]
