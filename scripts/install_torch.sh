#!/usr/bin/env bash
# Installs the pinned torch: where there is no NVIDIA card the CPU build, if pip can find one; else what PyPI offers.
# Usage: install_torch.sh PYTHON
set -euo pipefail
python=$1
version=$(sed -n 's/^torch==//p' constraints.txt)
quiet=(--quiet --disable-pip-version-check)
# PyTorch's own site; it also carries what torch needs.
cpu_index=${DESK_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}

if [ "$("$python" -c 'import torch; print(torch.__version__.split("+")[0])' 2>/dev/null)" = "$version" ]; then
  exit 0
fi
if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
  exec "$python" -m pip install "${quiet[@]}" "torch==$version"
fi
# A CPU wheel that pip is already told about (find-links) wins over any index: "+cpu" sorts above the plain version.
if "$python" -m pip install "${quiet[@]}" "torch==$version+cpu" 2>/dev/null; then
  exit 0
fi
if "$python" -m pip install "${quiet[@]}" --index-url "$cpu_index" --retries 1 --timeout 20 \
     "torch==$version+cpu" 2>/dev/null; then
  exit 0
fi
echo "No CPU-only build of torch $version could be reached; installing the full one, which is several gigabytes." >&2
exec "$python" -m pip install "${quiet[@]}" "torch==$version"
