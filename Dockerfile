# JupyterLab on the notebooks, with the TypeScript kernel, on port 8888:
#
#   docker build -t malt-notebooks .
#   docker run --rm -it --init -p 127.0.0.1:8888:8888 malt-notebooks
#
# and open the link to 127.0.0.1 that it prints.

# What the set-up needs; .devcontainer/ uses this stage alone. llama.cpp is linked with libgomp.
FROM node:20.20.2-bookworm-slim AS base
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates git libgomp1 python3 python3-venv \
  && rm -rf /var/lib/apt/lists/*

FROM base AS lab
WORKDIR /home/node/malt-notebooks
RUN chown node:node .
USER node
COPY --chown=node:node . .
RUN npm run setup && rm -rf .cache/npm .cache/pip .cache/uv
EXPOSE 8888
# From inside the container on every address; which of them others reach is said by -p.
CMD ["npm", "run", "lab", "--", "--ip=0.0.0.0", "--port=8888", "--no-browser"]
