"""Adds two small released networks to the wheel, so that an installed package can upscale; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("btsrn/btsrn_x2", "prosrn/prosrn_x2")


class BuildWithWeights(build_py):
    """Copies weights and cards from data/weights to srlib/released/weights of the wheel; an editable install has the checkout."""

    def _copies(self) -> dict[str, str]:
        names = [f"{name}.{suffix}" for name in CARRIED for suffix in ("safetensors", "json")]
        return {f"data/weights/{name}": str(Path(self.build_lib, "srlib", "released", "weights", name)) for name in names}

    def run(self) -> None:
        super().run()
        for source, target in {} if self.editable_mode else self._copies().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *({} if self.editable_mode else self._copies()).values()]

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *self._copies()]


setup(cmdclass={"build_py": BuildWithWeights})
