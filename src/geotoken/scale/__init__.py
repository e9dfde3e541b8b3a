"""Large collections on Ray Data: the same code on one machine and on a cluster.

Owns planning, workers and shards on any filesystem; must not be imported by anything the base install runs.
"""

from importlib.util import find_spec

from geotoken.errors import DependencyError

if find_spec("ray") is None or find_spec("pyarrow") is None:
    raise DependencyError(
        "the engine ray needs Ray Data, which is not installed; pip install 'geotoken[scale]'"
    )

from geotoken.scale.embed import EmbedJob, embed_on_ray
from geotoken.scale.locate import LocateJob, locate_on_ray
from geotoken.scale.plan import Plan, plan_photos

__all__ = ["EmbedJob", "LocateJob", "Plan", "embed_on_ray", "locate_on_ray", "plan_photos"]
