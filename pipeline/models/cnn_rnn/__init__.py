"""The CNN-RNN: a frozen image network of Keras Applications, frame by frame, and a recurrent top over its features.

After Keras's example "Video Classification with a CNN-RNN Architecture" (Sayak Paul, 2021), which classifies the first 20 frames
of a clip; short clips are padded, and the padding is masked.
"""
