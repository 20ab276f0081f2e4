package javafx.scene.control

enum ButtonType { CANCEL }
