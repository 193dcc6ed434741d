"""In the place of the compiled package `sgl_kernel` on a machine without a GPU; environment.py installs it under that
name. Every name can be imported, from every submodule; a kernel that is called raises, so that nothing is computed
wrongly in silence. What SGLang replaces by itself when it is missing (`scalar_type`) is missing."""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__version__ = "0.4.10"
__path__ = []


def _kernel(name):
    def call(*_, **__):
        raise NotImplementedError(f"{name} needs a GPU: this is the stand-in for machines without one")

    return call


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _kernel(f"sgl_kernel.{name}")


class _Submodule(ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _kernel(f"{self.__name__}.{name}")


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, fullname, path=None, target=None):
        package, _, rest = fullname.partition(".")
        if package == "sgl_kernel" and rest and rest != "scalar_type":
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Submodule(spec.name)

    def exec_module(self, module):
        module.__path__ = []


sys.meta_path.append(_Finder())
