package javafx.scene.control

class ProgressBar {
    ProgressBar(double share) {}
    void setProgress(double share) { assert share <= 1 }
    void setPrefWidth(double width) {}
}
