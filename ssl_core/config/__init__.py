"""Configs of pretraining and evaluation, as plain values, and what is built in.

The lowest package of ``ssl_core``, without torch: planning imports it. It imports only view policies of
``data_ops``.
"""

__all__ = ["finetune", "plugins", "presets", "pretrain", "probe", "registry"]
