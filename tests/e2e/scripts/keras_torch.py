"""Keras on torch: its optimizers are no torch.optim.Optimizer, so the built-in phase map names their step."""

# e2e: frameworks slow timeout=120

import os
import tempfile

os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_HOME"] = tempfile.mkdtemp()

import keras
import numpy as np

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
y = x.sum(1, keepdims=True)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="relu"), keras.layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse", run_eagerly=True)
history = model.fit(x, y, batch_size=8, epochs=2, verbose=0)
print([f"{loss:.6f}" for loss in history.history["loss"]])
