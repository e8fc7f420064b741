"""The picture that image benchmarks send: made here, of gradients, texture, text and noise."""

import io

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 1280, 960


def picture(noise: float) -> bytes:
    """A JPEG of 1280x960 pixels, quality 88, 4:2:0; noise: its deviation in levels."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    sky = np.stack([90 + y * 0.08, 140 + y * 0.06, 220 - y * 0.05], -1)
    hills = 480 + 90 * np.sin(x / 170) + 40 * np.sin(x / 41)
    texture = 18 * np.sin(x / 3.1 + np.sin(y / 7) * 2) * np.cos(y / 2.3)
    ground = np.stack([70 + texture, 110 + texture, 50 + texture * 0.5], -1)
    pixels = np.where((y > hills)[..., None], ground, sky) + rng.normal(0, noise, (HEIGHT, WIDTH, 1))
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for n in range(24):
        left, top = (97 * n) % (WIDTH - 200), (61 * n) % (HEIGHT - 80)
        draw.rectangle(
            (left, top, left + 70 + 3 * n, top + 40), fill=(10 * n, 255 - 9 * n, 120), outline=(0, 0, 0)
        )
        draw.text((left + 4, top + 8), f"steelyard {n:02d}: weigh, then serve", fill=(255, 255, 255))
    target = io.BytesIO()
    image.save(target, "JPEG", quality=88, subsampling="4:2:0")
    return target.getvalue()
