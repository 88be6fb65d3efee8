import numpy as np

from core.figures.thumbnails import thumbnails


def test_pixels_are_repeated_by_a_whole_factor():
    image = np.array([[[[0, 9], [3, 5]]]], np.uint8)
    (found,) = thumbnails(image, side=5)
    assert found.shape == (6, 6, 3) and found.dtype == np.uint8
    assert (found[:3, 3:] == 9).all() and (found[3:, :3] == 3).all()


def test_channels():
    color = np.zeros((2, 3, 40, 20), np.uint8)
    color[:, 1] = 7
    found = thumbnails(color, side=80)
    assert len(found) == 2 and found[0].shape == (80, 40, 3) and found[0][0, 0].tolist() == [0, 7, 0]
    assert thumbnails(np.zeros((1, 5, 4, 4), np.uint8), side=1)[0].shape == (4, 4, 3)
    assert thumbnails(np.zeros((1, 2, 4, 4), np.uint8), side=1)[0].shape == (4, 4, 3)
