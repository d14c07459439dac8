package value_test

import (
	"fmt"

	"github.com/switchbackhq/switchback/pkg/value"
)

func Example() {
	v, err := value.Decode([]byte(`{"id": 12345678901234567890, "price": 1.10, "note": "a<b"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fields := v.(map[string]any)
	fmt.Println(value.Text(fields["id"]), value.Text(fields["price"]), value.Text(fields["note"]))

	b, err := value.Encode(v)
	fmt.Println(string(b), err)

	_, err = value.Decode([]byte(`{"id": 01}`))
	fmt.Println(err)
	// Output:
	// 12345678901234567890 1.10 a<b
	// {"id":12345678901234567890,"note":"a<b","price":1.10} <nil>
	// JSON: a number is not well formed at byte 7
}
