"""`geotoken train`: the stages of a training, one command each.

Owns how they hang together; must not know any stage.
"""

import typer

from geotoken.cli.train_decoder import decoder
from geotoken.cli.train_reward import reward

app = typer.Typer(
    help="Train a model on a feature store: align, decoder, reward; needs the extra train.",
    no_args_is_help=True,
)
app.command("decoder")(decoder)
app.command("reward")(reward)
