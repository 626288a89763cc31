"""The CNN-RNN family: a frozen image network of Keras Applications for each frame, and a recurrent top on its features.

Source: Keras's example "Video Classification with a CNN-RNN Architecture" (Sayak Paul, 2021), which classifies the first 20
frames of a clip, and pads and masks shorter clips.
"""
