"""`geotoken train`: the stages of training, one command each.

Owns how they hang together; must not know what any of them does.
"""

import typer

from geotoken.cli.train_align import align
from geotoken.cli.train_decoder import decoder
from geotoken.cli.train_reward import reward

app = typer.Typer(help="Train a model, stage by stage, on photos of yours.", no_args_is_help=True)
app.command("align")(align)
app.command("decoder")(decoder)
app.command("reward")(reward)
