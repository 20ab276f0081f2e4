package javafx.scene.control

class Label {
    static List shown = []
    /** What happens at the first text, while the script runs. */
    static Closure event = null
    Label(String text) { shown.clear() }
    void setText(String text) {
        shown << text
        if (shown.size() == 1) event?.call()
    }
}
