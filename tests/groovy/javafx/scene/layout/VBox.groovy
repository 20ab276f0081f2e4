package javafx.scene.layout

class VBox {
    VBox(double gap, Object... parts) {}
}
