# CUDA comes with PyPI's wheels, so that no CUDA image is needed: the host brings its driver (580 or
# later, for CUDA 13) and the NVIDIA container toolkit.
#
#     docker build --tag copris .
#     docker run --gpus all --ipc host --volume "$PWD/runs:/copris/runs" copris \
#         train experiment=copris platform=gpu platform.devices=8 policy=hf policy.path=FOLDER ...
#
# Without a GPU, the packaged tiny model on a CPU:
#
#     docker build --tag copris-cpu --target cpu .
#     docker run --ipc host copris-cpu train experiment=copris
FROM python:3.11.11-slim-bookworm AS base
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1
# A compiler, for what Triton and vLLM build when they start; libnuma, for vLLM on a CPU.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ gcc libc6-dev libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 copris \
    && install --directory --owner copris --group copris /copris /copris/runs
WORKDIR /copris

FROM base AS cpu
COPY --chown=copris:copris . .
USER copris
RUN bash scripts/env.sh
ENTRYPOINT [".venv/bin/copris"]
CMD ["--help"]

# The last stage is what `docker build` makes.
FROM base AS gpu
COPY requirements/gpu.txt requirements/gpu.txt
RUN pip install -r requirements/gpu.txt
COPY --chown=copris:copris . .
RUN pip install --no-deps -e .
USER copris
ENTRYPOINT ["copris"]
CMD ["--help"]
